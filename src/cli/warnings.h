/* warnings.h: what is likely not as the user thinks, of lists, prompts and outputs. */
#ifndef B2_WARNINGS_H
#define B2_WARNINGS_H

#include "job/spec.h"
#include "lists/inputs.h"

/* A table that may have no header, or whose rows are not as long as it. csv_column: as the user named it; NULL: the
 * first. */
void b2_warn_about_table(const b2_inputs *inputs, const char *csv_column);
void b2_warn_about_prompts(const b2_spec *spec);
/* Ways to choose that do nothing: without samples or beams, with choices. Those of a preset are no wish of the user. */
void b2_warn_about_decoding(const b2_spec *spec, const blip2_decoding *preset);
/* Names that Hugging Face's load_dataset("imagefolder") would not find beside the output. */
void b2_warn_about_imagefolder(const b2_inputs *inputs, const char *output_path);

#endif
