"""Warnings are kept back while pictures are read, and only then."""

import threading
import warnings

from cxr_attn_unet.io.silence import without_warnings


def test_warnings_are_kept_back():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with without_warnings():
            warnings.warn("odd tag", stacklevel=1)
    assert caught == []


def test_threads_that_overlap_leave_warnings_as_they_were():
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with without_warnings():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second():
        first_in.wait(10)
        with without_warnings():
            second_in.set()
            first_out.wait(10)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=work) for work in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        warnings.warn("heard", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["heard"]
