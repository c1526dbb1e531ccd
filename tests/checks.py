"""Every exact check by name: CHECKS. Each is fast, and raises AssertionError where the source is wrong."""

import checks_figures  # noqa: F401
import checks_model  # noqa: F401
import checks_report  # noqa: F401
import checks_training  # noqa: F401
import checks_use  # noqa: F401
import exact

SLOW = ("evaluate_by_hand", "training_keeps_the_best_bound")  # a tenth of a second and more: last

CHECKS = dict(sorted(exact.CHECKS.items(), key=lambda item: (item[0] in SLOW, item[1].__module__ != "checks_model")))
