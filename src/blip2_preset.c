/* blip2_preset.c: settings by the name under which numbers of BLIP-2 were published or are computed, with their
 * sources. */
#include "blip2.h"

#include "abi.h"

static const blip2_preset presets[] = {
    /* transformers' defaults; its documentation and the model cards of BLIP-2 */
    {sizeof(blip2_preset), "greedy", 20, 1, 0, 1, NULL, NULL, NULL, false},
    {sizeof(blip2_preset), "hf-beam5", 20, 5, 0, 1, NULL, NULL, NULL, false},
    /* LAVIS, lavis/models/blip2_models/blip2_opt.py: generate() and predict_answers(). Its lengths count the </s> that
     * transformers put first then: max_length 30 is 29 tokens, min_length 8 is 7. */
    {sizeof(blip2_preset), "lavis-caption", 29, 5, 0, 1, "lavis", "lavis", NULL, false},
    {sizeof(blip2_preset), "lavis-vqa", 10, 5, 0, 0, "lavis", "lavis", NULL, true},
    /* LAVIS, lavis/projects/blip2/eval: COCO captions and NoCaps; the prompt is that of models tuned on COCO */
    {sizeof(blip2_preset), "coco", 29, 5, 7, 1, "lavis", "lavis", "a photo of", false},
    {sizeof(blip2_preset), "nocaps", 79, 5, 9, 1, "lavis", "lavis", "a photo of", false},
};

bool blip2_preset_at(size_t index, blip2_preset *preset) {
    if (index >= sizeof presets / sizeof presets[0]) return false;
    b2_struct_fill(preset, &presets[index], sizeof presets[index]);
    return true;
}

bool blip2_preset_find(const char *name, blip2_preset *preset) {
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(presets[i].name, name) == 0) return blip2_preset_at(i, preset);
    return false;
}
