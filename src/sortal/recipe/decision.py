"""When the finished model answers, and what it says: for a wanted share of errors, or by what mistakes cost."""

from pydantic import Field, model_validator

from sortal.recipe.group import Group, NotNegative, Share


class Decide(Group):
    """When the finished model says a label; chosen on held-out images, written into the bundle, and kept by whatever answers.

    By default it says the likeliest class of every image.
    """

    error_rate: float = Field(default=0.0, ge=0, lt=1)
    """Nothing is said below a probability that is chosen so that of the answers no larger share is expected to be wrong; 0 is
    off. Where images come in groups (copies, a patient, a scene) groups count: it is the share of images of a new group."""
    costs: dict[str, dict[str, NotNegative]] = Field(default={})
    """What a mistake costs, by the true class and the one that is said: `{bee = {ant = 10}}` says that taking a bee for an ant
    costs 10. Mistakes that are not named cost 1. The class with the lowest expected cost is said."""
    abstain_cost: NotNegative = 0.0
    """With `costs`: what it costs to say nothing, which is done where every class is expected to cost more; 0 is never."""
    novelty: Share = 1.0
    """Nothing is said of an image that is more novel than this share of the familiar ones; 1 is off."""

    @model_validator(mode="after")
    def _one_way(self) -> "Decide":
        if self.error_rate and self.costs:
            raise ValueError("error_rate and costs are two ways to choose what is said: set one of them")
        if self.abstain_cost and not self.costs:
            raise ValueError("abstain_cost is compared with costs, and there are none: set costs, or error_rate instead")
        return self

    @property
    def asked(self) -> bool:
        """Whether anything but the likeliest class, always, is asked for."""
        return self != Decide()
