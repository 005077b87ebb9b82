/* adapter.h: a LoRA of PEFT, merged into the base checkpoint while that streams by (merge.h has the arithmetic).
 *
 * Files: adapter_config.json (adapter_config.h) and adapter_model.safetensors, or adapter_model.bin. The adapter's
 * tensors join the base's list under B2_ADAPTER_PREFIX. Whole tensors among them (modules_to_save, trained biases)
 * are found by names.c in place of the base's; those of LoRA and DoRA are bound here, to the stored tensor whose
 * module they name:
 *
 *   base_model.model.<module>.lora_A.weight [r][n_in]      .lora_B.weight [n_out][r]
 *                            .lora_magnitude_vector [n_out]     .lora_B.bias [n_out] */
#ifndef B2_ADAPTER_H
#define B2_ADAPTER_H

#include "convert/adapter_config.h"
#include "convert/names.h"

/* Does the folder hold an adapter (adapter_config.json)? */
bool b2_adapter_is_in(const char *folder);

/* Adds the adapter's tensors to the base's: before anything points into the list.
 * Errors: those of b2_tensor_source_add, BLIP2_IO when neither file of weights is there. */
blip2_status b2_adapter_add(const char *folder, b2_tensor_source *source, blip2_error *err);

typedef struct b2_adapter_count {
    size_t n_loras, n_tensors; /* matrices that change, tensors that are replaced */
} b2_adapter_count;

/* Says for each stored tensor of each stem what is to be merged. Every tensor of the adapter must find its place.
 * Errors: BLIP2_SHAPE, BLIP2_UNSUPPORTED, BLIP2_MEMORY. */
blip2_status b2_adapter_bind(const b2_adapter_config *config, const b2_tensor_source *source, b2_stems *stems,
                             b2_adapter_count *count, blip2_error *err);

#endif
