"""The type checker that the tests run the package under: shapes by jaxtyping, an int where a float is annotated."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
