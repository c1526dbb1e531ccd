"""Every exact check by name: CHECKS. Each is fast, and raises AssertionError where the source is wrong."""

from importlib import import_module
from pathlib import Path

import exact

for module in sorted(Path(__file__).parent.glob("checks_*.py")):
    import_module(module.stem)

SLOW = (  # a tenth of a second and more: last
    "evaluate_by_hand",
    "outliers_by_their_share",
    "training_keeps_the_best_bound",
    "new_tables_are_read_as_the_models_were",
    "rows_keep_their_names_and_numbers",
    "a_fitted_image_stays_within_its_bits",
    "forged_files_are_refused_by_name",
    "courses_by_hand",
    "decoder_that_ignores_z",
    "symptoms_of_an_exact_model",
    "a_classifier_tells_what_can_be_told",
    "codes_that_copy_factors",
    "codes_that_know_nothing",
    "a_factor_in_two_dimensions",
    "gaps_of_known_size",
)

CHECKS = dict(sorted(exact.CHECKS.items(), key=lambda item: (item[0] in SLOW, item[1].__module__ != "checks_model")))
