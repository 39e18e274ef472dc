"""The compilation cache, which the host driver turns on; see `jaxhpo._cache`."""

from jaxhpo._cache import DIRECTORY_VARIABLE as DIRECTORY_VARIABLE
from jaxhpo._cache import SWITCH_VARIABLE as SWITCH_VARIABLE
from jaxhpo._cache import default_cache_directory as default_cache_directory
from jaxhpo._cache import enable_compilation_cache as enable_compilation_cache
