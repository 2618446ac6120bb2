"""No-reference image quality assessment: HyperIQA with attention-based multi-scale feature fusion."""

__version__ = "0.1.0"
