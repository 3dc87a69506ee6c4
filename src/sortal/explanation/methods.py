"""The methods by which a map is made, by name, and which one is taken where none is named."""

from collections.abc import Sequence

from sortal.errors import UnknownName

OCCLUSION = "occlusion"
METHODS = {
    "grad_cam": "the last maps of a convolutional network, weighted by their gradients (Selvaraju et al. 2017)",
    "attention_rollout": "attention followed from the class to the patches (Abnar and Zuidema 2020, Chefer et al. 2021)",
    "integrated_gradients": "gradients along the way from grey to the image (Sundararajan et al. 2017)",
    OCCLUSION: "hide a patch, watch the probability fall (Zeiler and Fergus 2014); needs no framework",
}
COARSE = ("grad_cam", "attention_rollout")
"""Methods that are taken without being asked for: one pass for an image, and a map that a person can read."""


def known(method: str) -> str:
    """The name itself; raises `UnknownName` for one that is not in the table."""
    if method not in METHODS:
        raise UnknownName("method", method, METHODS, hint=f"there are {', '.join(METHODS)}")
    return method


def by_architecture(possible: Sequence[str]) -> tuple[str, str]:
    """The method for a network for which these are possible, the best first; and why.

    >>> by_architecture(["grad_cam", "integrated_gradients"])
    ('grad_cam', 'the network is convolutional')
    >>> by_architecture(["integrated_gradients"])[0]
    'occlusion'
    """
    for method in possible:
        if method in COARSE:
            return method, "the network is " + {"grad_cam": "convolutional", "attention_rollout": "a transformer"}[method]
    return OCCLUSION, "the network has neither maps nor attention from end to end"
