/* clock.h: monotonic time. */
#ifndef B2_CLOCK_H
#define B2_CLOCK_H

#include <stdint.h>

/* Nanoseconds since an arbitrary moment; never goes back. */
int64_t b2_clock_ns(void);

#endif
