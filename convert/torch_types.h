/* torch_types.h: a tensor out of a pickle as one of a checkpoint's list, in whichever of PyTorch's two containers. */
#ifndef B2_TORCH_TYPES_H
#define B2_TORCH_TYPES_H

#include "convert/pickle.h"

/* Appends it to list, its offset_bytes counted inside its storage. path is only named in errors.
 * Errors: those of b2_tensor_list_add. */
blip2_status b2_torch_describe(const char *path, const b2_pickle_tensor *tensor, b2_tensor_list *list,
                               b2_stored_tensor **out, size_t *element_bytes, blip2_error *err);

#endif
