/* decode.c: the pictures whose paths come on stdin, as this program sees them, for make_pictures.py: of each a line
 * "STATUS WIDTH HEIGHT ROTATED MESSAGE", then its RGB. Arguments: truncated, as-stored, keep, small (224 x 224). */
#include "image/image.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    b2_picture_options options = b2_picture_options_default();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "truncated") == 0) options.read_truncated = true;
        if (strcmp(argv[i], "as-stored") == 0) options.apply_exif = false;
        if (strcmp(argv[i], "keep") == 0) options.keep_hidden = true;
        if (strcmp(argv[i], "small") == 0) options.square = 224;
    }
    char path[4096];
    while (fgets(path, sizeof path, stdin) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        b2_picture picture;
        blip2_error err = {0};
        const blip2_status status = b2_picture_load_file(path, &options, &picture, &err);
        printf("%d %zu %zu %d %s\n", (int)status, picture.width, picture.height, picture.rotated,
               status == BLIP2_OK ? (picture.hint != NULL ? picture.hint : "") : err.message);
        if (status == BLIP2_OK) fwrite(picture.rgb, 3, picture.width * picture.height, stdout);
        b2_picture_free(&picture);
    }
    return 0;
}
