/* result.h: the one result of a request, as tests want it: there must be one. */
#ifndef B2_TESTS_RESULT_H
#define B2_TESTS_RESULT_H

#include "blip2.h"

#include <stdlib.h>

static inline blip2_result fixture_result(const blip2_session *session, size_t request) {
    blip2_result result = {.struct_bytes = sizeof result};
    if (!blip2_session_result(session, request, 0, &result)) abort();
    return result;
}

#endif
