#!/bin/sh
# Train a packaged model from public files: sh examples/train_packaged.sh FOLDER [BACKBONE [SEEDS [OTHERS]]]
# fusiqa-fast is `FOLDER`; fusiqa-accurate, the average of a larger network and fusiqa-fast, is
# `FOLDER tf_efficientnet_lite2 0 fusiqa-fast`. Needs fusiqa[train] and 28 GB of disk; it ran with 24 GB of memory. On two
# cores with AVX-512 and bfloat16 (AMD EPYC) maps take an hour, windows 35 minutes, larger ones 25 minutes for each seed
# (with Lite2 50 and 32), pools and flaws half an hour, the heads 4 minutes. FOLDER/BACKBONE is the result,
# FOLDER/work-BACKBONE/contents.csv has the licence of every sharp image.
set -e
folder=${1:?usage: train_packaged.sh FOLDER [BACKBONE [SEEDS [OTHERS]]]}
backbone=${2:-tf_efficientnet_lite0}
seeds=${3:-0 1}
get() {  # repository, commit, name
    [ -d "$folder/$3" ] && return
    rm -rf "$folder/$3.part"
    git clone --quiet --filter=blob:none --no-checkout "https://github.com/$1" "$folder/$3.part"
    git -C "$folder/$3.part" checkout --quiet "$2"
    mv "$folder/$3.part" "$folder/$3"
}
mkdir -p "$folder"
here=$(dirname "$0")
get nisarahmedrana/BIQ2021 62c7b40c036b68ee280626409699aa5c1a37fe57 BIQ2021
get imazen/codec-corpus 55decfe826d350815e3af3b5ac69b882fb2943d3 sharp/codec-corpus
get Ivordir/quantette aa93bb69a193a4d7d98126fa2d8c14158d52ce6a sharp/quantette
get gianni-rosato/gb82-image-set 502f9f94cb73d1ad5c89ce06fe6b100d0a27df8f sharp/gb82-image-set
get BuddiesOfBudgie/budgie-backgrounds 82067426f1dde366e9c9038fdbe457c2527525dd sharp/budgie-backgrounds
get pop-os/wallpapers 03a25a14a76eaf3825b980ab50aad6698c1c5a35 sharp/wallpapers
# Without these a sixth of the time of training went into giving memory back and asking for it again.
export THP_MEM_ALLOC_ENABLE=1 MALLOC_MMAP_THRESHOLD_=17179869184 MALLOC_TRIM_THRESHOLD_=17179869184
python "$here/train_packaged.py" --biq2021 "$folder/BIQ2021" --sharp "$folder/sharp" --backbone "$backbone" \
    --work "$folder/work-$backbone" --output "$folder/$backbone" --seeds $seeds ${4:+--others $4}
fusiqa export "$folder/$backbone" --output "$folder/$backbone/model.onnx" --overwrite --share_weights
