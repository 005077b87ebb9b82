/* fuzz_csv.c: any bytes as a CSV file; every cell is visited, and its value taken. */
#include "lists/csv.h"
#include "reach.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = malloc(size + 1);
    if (bytes == NULL) return 0;
    memcpy(bytes, data, size);
    b2_csv csv = {0};
    if (b2_csv_add_text(&csv, bytes, size, "fuzz", NULL) != BLIP2_OK) {
        b2_csv_free(&csv);
        return 0;
    }
    for (size_t row = 0; row < csv.n_rows; row++)
        for (size_t c = 0; c < 4; c++) {
            char *value = b2_csv_value(b2_csv_cell(&csv, row, c));
            if (value != NULL && strlen(value) > size) abort();
            free(value);
        }
    if (csv.n_rows > 1) fuzz_reached();
    size_t column;
    char text[100];
    b2_csv_print_ragged(&csv, text, sizeof text);
    b2_csv_find_column(&csv, "2", &column, NULL);
    b2_csv_free(&csv);
    return 0;
}
