"""What other rooms of the package need of `report`, and no user: free to change."""

from jaxhpo.report._document import Page as Page
from jaxhpo.report._document import document as document
from jaxhpo.report._document import plotly_script as plotly_script
from jaxhpo.report._traces import Figure as Figure
from jaxhpo.report._traces import layout_of as layout_of
from jaxhpo.report._traces import points_of as points_of
