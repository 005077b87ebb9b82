/* fuzz_csv.c: any bytes as a CSV file; every cell is visited, and its value taken. */
#include "cli/csv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = malloc(size + 1);
    if (bytes == NULL) return 0;
    memcpy(bytes, data, size);
    b2_csv csv;
    if (b2_csv_parse(bytes, size, "fuzz", &csv, NULL) != BLIP2_OK) return 0;
    for (size_t row = 0; row < csv.n_rows; row++)
        for (size_t c = 0; c < 4; c++) {
            char *value = b2_csv_value(b2_csv_cell(&csv, row, c));
            if (value != NULL && strlen(value) > size) abort();
            free(value);
        }
    size_t column;
    b2_csv_find_column(&csv, "2", &column, NULL);
    b2_csv_free(&csv);
    return 0;
}
