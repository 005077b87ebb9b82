/* report.h: a job's records as one HTML page that needs nothing else. */
#ifndef B2_REPORT_H
#define B2_REPORT_H

#include "job/assemble.h"

/* Writes the page: whole or not at all. Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_MEMORY, BLIP2_CANCELLED. */
blip2_status b2_report_write(const b2_record_set *set, const b2_style *style, const char *path, blip2_error *err);

#endif
