"""What other rooms of the package need of `hypergrad`, and no user: free to change."""

from jaxhpo.hypergrad._coordinates import from_free as from_free
from jaxhpo.hypergrad._coordinates import to_free as to_free
from jaxhpo.hypergrad._diagnose import compare as compare
from jaxhpo.hypergrad._diagnose import flat as flat
from jaxhpo.hypergrad._diagnose import judge as judge
