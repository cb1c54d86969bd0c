"""Everything that can go wrong here, each as a sentence for the person who runs the tests.

ClusterError
├── BuildError      a program could not be built, or is missing where nothing may be built
├── StartError      a process ended or was not ready in time; holds the last lines of its log
└── KubectlError    kubectl refused; holds what it said
"""


class ClusterError(Exception):
    """Base of the errors of this package."""


class BuildError(ClusterError):
    """A program could not be had."""


class StartError(ClusterError):
    """A process did not come up."""


class KubectlError(ClusterError):
    """kubectl ended with an error; the message is its output."""
