/* json_list.h: JSON lines and JSON arrays as lists. */
#ifndef B2_JSON_LIST_H
#define B2_JSON_LIST_H

#include "lists/inputs.h"

/* One JSON object a line, or an array of objects; path "-": stdin; key names the member with the path. A line or an
 * element without one is an input with the path "". May be called again, as those of inputs.h. Errors: of
 * b2_list_read(); BLIP2_FORMAT (an array that is broken), BLIP2_ARGUMENT (stdin twice). */
blip2_status b2_inputs_add_jsonl(b2_inputs *inputs, const char *path, const char *key, blip2_error *err);

/* Why a line or element has no path: *err says it. False: it has one, the empty string. */
bool b2_json_list_explain(const char *list, size_t line, b2_text json, const char *key, blip2_error *err);

#endif
