/* tokenizer_files.h: the vocabulary out of the files that transformers writes: V pieces, their types, the merges.
 *
 * tokenizer.json holds everything; older checkpoints have vocab.json and merges.txt instead. Either way
 * tokenizer_config.json, added_tokens.json and special_tokens_map.json, where they exist, add literals such as </s>. */
#ifndef B2_TOKENIZER_FILES_H
#define B2_TOKENIZER_FILES_H

#include "tokenizer/bpe.h"

#include <jansson.h>

enum { B2_TOKENIZER_DOCUMENTS = 6 };

typedef struct b2_tokenizer_files {
    b2_vocabulary vocabulary; /* views into what follows; rows without a piece are "[PADn]", of type unused */

    b2_text *tokens, *merges;
    int32_t *types;
    json_t *documents[B2_TOKENIZER_DOCUMENTS]; /* whose strings the views are */
    size_t n_documents;
    char *merges_text, *padding_text;
} b2_tokenizer_files;

/* n_vocab: rows of the token embedding. default_bos: text_config's, for files that name no bos_token.
 * The result has been through b2_tokenizer_create. On failure *out is freed.
 * Errors: BLIP2_IO (a file is missing), BLIP2_FORMAT, BLIP2_SHAPE (more pieces than rows), BLIP2_UNSUPPORTED
 * (another algorithm), BLIP2_LIMIT, BLIP2_MEMORY. */
blip2_status b2_tokenizer_files_load(const char *folder, size_t n_vocab, uint32_t default_bos, b2_tokenizer_files *out,
                                     blip2_error *err);

/* The same from a parsed tokenizer.json alone, which stays the caller's. */
blip2_status b2_tokenizer_files_parse(const char *path, json_t *tokenizer, size_t n_vocab, uint32_t default_bos,
                                      b2_tokenizer_files *out, blip2_error *err);

void b2_tokenizer_files_free(b2_tokenizer_files *files);

#endif
