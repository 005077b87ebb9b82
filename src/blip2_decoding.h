/* blip2_decoding.h: a caller's blip2_decoding, completed, and as the rules of generate/. */
#ifndef B2_BLIP2_DECODING_H
#define B2_BLIP2_DECODING_H

#include "blip2.h"
#include "blip2_model.h"
#include "generate/run.h"

/* decoding may be NULL or shorter than ours: what it lacks is at its default. */
blip2_decoding b2_decoding_complete(const blip2_decoding *decoding);

/* Its texts stay the caller's. n_new_tokens: at most so many. */
b2_logits_rules b2_decoding_rules(const blip2_decoding *decoding, const blip2_model *model, size_t n_new_tokens);

/* How many texts of a request are written side by side. */
size_t b2_decoding_hypotheses(const blip2_decoding *decoding);

/* For do_sample; for more than one beam. */
b2_sampling b2_decoding_sampling(const blip2_decoding *decoding);
b2_beam_options b2_decoding_beams(const blip2_decoding *decoding);

b2_rules_see b2_decoding_rules_see(const blip2_decoding *decoding);

#endif
