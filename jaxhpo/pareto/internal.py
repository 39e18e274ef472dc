"""What other rooms of the package need of `pareto`, and no user: free to change."""

from jaxhpo.pareto._rows import front_rows as front_rows
