"""Every exact check by name: CHECKS. Each is fast, and raises AssertionError where the source is wrong."""

import checks_doctor  # noqa: F401
import checks_figures  # noqa: F401
import checks_model  # noqa: F401
import checks_report  # noqa: F401
import checks_use  # noqa: F401
import exact

DOCTOR = ("courses_by_hand", "decoder_that_ignores_z", "symptoms_of_an_exact_model")
SLOW = ("evaluate_by_hand", "training_keeps_the_best_bound", *DOCTOR)  # a tenth of a second and more: last

CHECKS = dict(sorted(exact.CHECKS.items(), key=lambda item: (item[0] in SLOW, item[1].__module__ != "checks_model")))
