"""What other rooms of the package need of `schedulers`, and no user: free to change."""

from jaxhpo.schedulers._names import resolve as resolve
