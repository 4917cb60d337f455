"""Some builds of CPython lack the few lines that make test._test_multiprocessing a test."""

import multiprocessing
import unittest

import test._test_multiprocessing
from test import support


def install(names, method):
    if method not in multiprocessing.get_all_start_methods():
        raise unittest.SkipTest(f"no start method {method}")
    if getattr(support, "PGO", False):
        raise unittest.SkipTest("not for a build that profiles")
    test._test_multiprocessing.install_tests_in_module_dict(names, method)
