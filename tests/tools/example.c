/* example.c: the program in blip2.h's head comment, as somebody else would build it: check_install.sh does. */
#include <blip2.h>
#include <stdio.h>

int main(int argc, char **argv) {
    blip2_model *model = NULL;
    blip2_session *session = NULL;
    blip2_image *image = NULL;
    blip2_error err;
    if (argc != 3) return 2;
    if (blip2_model_open(argv[1], &model, &err) != BLIP2_OK || blip2_session_create(model, NULL, &session, &err) != BLIP2_OK ||
        blip2_image_load(model, argv[2], NULL, &image, &err) != BLIP2_OK || blip2_session_see(session, &image, 1, &err) != BLIP2_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    blip2_request request = {.image = 0};
    blip2_result result;
    if (blip2_session_say(session, &request, 1, &result, &err) == BLIP2_OK) puts(result.text);
    blip2_image_free(&image);
    blip2_session_free(&session);
    blip2_model_close(&model);
    return 0;
}
