/* torch_old.h: reads *.bin of PyTorch before 1.6 (and of torch.save with _use_new_zipfile_serialization=False): no
 * archive, but one after the other
 *
 *   pickles of a magic number, of the format's version, of a description of the machine
 *   a pickle of the dictionary of tensors, which names storages
 *   a pickle of the list of those names; then for each of them, in this order: u64 number of elements, the elements */
#ifndef B2_TORCH_OLD_H
#define B2_TORCH_OLD_H

#include "convert/flat_file.h"
#include "convert/stored_tensor.h"

/* Does a file begin like that? */
bool b2_torch_old_is(const char *path);

/* Appends the file's tensors to list, their shard still 0, their offset_bytes counted from the start of the file.
 * Errors: BLIP2_IO, BLIP2_FORMAT, BLIP2_UNSUPPORTED (would have to execute something), BLIP2_LIMIT, BLIP2_MEMORY. On
 * failure nothing is left open. */
blip2_status b2_torch_old_open(const char *path, b2_flat_file *file, b2_tensor_list *list, blip2_error *err);

#endif
