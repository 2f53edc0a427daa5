/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes that several layers work out: windows over images, channels, values of a call. */
#include "core/nn/layers/layers.h"

enum ls_status lsi_window_of(int64_t size, int kernel, int stride, int dilation, enum ls_padding padding,
                             struct lsi_window *window, struct ls_error *err)
{
    int64_t reach = (int64_t)(kernel - 1) * dilation + 1;
    if (padding == LS_VALID) {
        if (reach > size)
            return ls_error_set(err, LS_EINVAL, "a window of %lld does not fit into an image of %lld", (long long)reach,
                                (long long)size);
        *window = (struct lsi_window){.out = (size - reach) / stride + 1};
        return LS_OK;
    }
    int64_t out = (size + stride - 1) / stride;
    int64_t pad = (out - 1) * stride + reach - size;
    if (pad < 0)
        pad = 0;
    *window = (struct lsi_window){.out = out, .pad_begin = (int)(pad / 2), .pad_end = (int)(pad - pad / 2)};
    return LS_OK;
}

enum ls_status lsi_same_channels(const struct lsi_layer *layer, const struct ls_shape *in, struct ls_error *err)
{
    if (!layer->is_built)
        return LS_OK;
    int64_t built = layer->built.dim[layer->built.rank - 1], now = in->dim[in->rank - 1];
    if (built != now)
        return ls_error_set(err, LS_EINVAL, "its calls differ in the last axis: %lld and %lld", (long long)built,
                            (long long)now);
    return LS_OK;
}

enum ls_status lsi_image_shape(const struct ls_shape *in, struct ls_error *err)
{
    char text[128];
    if (in->rank != 3)
        return ls_error_set(err, LS_EINVAL, "it needs samples of (height, width, channels), not %s",
                            ls_shape_text(in, text));
    return LS_OK;
}

struct ls_shape lsi_batched(const struct lsi_apply *apply, const struct ls_shape *sample)
{
    struct ls_shape whole = {.rank = sample->rank + 1};
    whole.dim[0] = ls_value_info(apply->in[0].value)->shape.dim[0];
    for (int i = 0; i < sample->rank; i++)
        whole.dim[i + 1] = sample->dim[i];
    return whole;
}
