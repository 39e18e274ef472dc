"""What other rooms of the package need of `training`, and no user: free to change."""

from jaxhpo.training._calls import call_init as call_init
from jaxhpo.training._calls import call_loss as call_loss
from jaxhpo.training._calls import call_step as call_step
from jaxhpo.training._calls import strong as strong
from jaxhpo.training._data import as_examples as as_examples
from jaxhpo.training._data import check_batch_size as check_batch_size
from jaxhpo.training._data import minibatch as minibatch
from jaxhpo.training._data import whole_data as whole_data
from jaxhpo.training._gradient import mixed_mode as mixed_mode
from jaxhpo.training._objective import check_training as check_training
from jaxhpo.training._objective import trial_keys as trial_keys
from jaxhpo.training._optimizer import optimizer_factory as optimizer_factory
from jaxhpo.training._rules import CUSTOM_JVP as CUSTOM_JVP
from jaxhpo.training._rules import CUSTOM_VJP as CUSTOM_VJP
from jaxhpo.training._rules import asymmetry as asymmetry
from jaxhpo.training._rules import equations as equations
from jaxhpo.training._rules import has_primitive as has_primitive
from jaxhpo.training._rules import is_held_constant as is_held_constant
from jaxhpo.training._rules import is_inexact as is_inexact
from jaxhpo.training._rules import is_overruled as is_overruled
from jaxhpo.training._rules import rule_name as rule_name
from jaxhpo.training._rules import sub_jaxprs as sub_jaxprs
from jaxhpo.training._training import Training as Training
