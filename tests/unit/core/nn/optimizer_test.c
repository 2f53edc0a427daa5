/* SPDX-License-Identifier: Apache-2.0 */
/* Optimizers against the paths that Keras' take, and their options. */
#include "core/nn/optimizer.h"

#include "core/formats/npz.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CHECK(expression)                                       \
    do {                                                        \
        if ((expression) != LS_OK)                              \
            cr_assert_fail("%s: %s", #expression, err.message); \
    } while (0)

#define STEPS 10
#define WIDTH 7

static const struct {
    const char *id;
    struct ls_optimizer_options options;
    const char *slots[2];
} cases[] = {
    {"sgd", {.name = "sgd", .learning_rate = 0.1f}, {NULL, NULL}},
    {"sgd_momentum",
     {.name = "sgd", .learning_rate = 0.1f, .momentum = 0.9f},
     {"sgd_momentum__a__slot02__a_momentum", NULL}},
    {"sgd_nesterov",
     {.name = "sgd", .learning_rate = 0.1f, .momentum = 0.9f, .nesterov = true},
     {"sgd_nesterov__a__slot02__a_momentum", NULL}},
    {"adam",
     {.name = "adam", .learning_rate = 0.01f, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7f},
     {"adam__a__slot02__a_momentum", "adam__a__slot03__a_velocity"}},
    {"adam_epsilon",
     {.name = "adam", .learning_rate = 0.01f, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 0.01f},
     {"adam_epsilon__a__slot02__a_momentum", "adam_epsilon__a__slot03__a_velocity"}},
};

static void near(const char *what, int step, const float *got, const float *want, double tolerance)
{
    double most = 0.0;
    for (int i = 0; i < WIDTH; i++)
        most = fmax(most, fabs((double)want[i]));
    for (int i = 0; i < WIDTH; i++)
        cr_assert(fabs((double)got[i] - (double)want[i]) <= tolerance * most,
                  "%s, step %d: element %d is %.9g, Keras has %.9g", what, step, i, (double)got[i], (double)want[i]);
}

static void check_path(const struct ls_npz *npz, size_t c, struct ls_device *device)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_optimizer *optimizer = NULL;
    float w[WIDTH], slots[LS_MAX_SLOTS][WIDTH] = {{0}};
    double counters[LS_MAX_COUNTERS];
    char key[64];
    (void)snprintf(key, sizeof(key), "%s__a__a", cases[c].id);
    const float *path = ls_npz_find(npz, key)->data, *gradients = ls_npz_find(npz, "grads__a")->data;
    CHECK(ls_optimizer_create(&cases[c].options, &optimizer, &err));
    memcpy(w, path, sizeof(w));
    for (int k = 0; k < ls_optimizer_counter_count(optimizer); k++)
        counters[k] = ls_optimizer_counter_initial(optimizer, k);
    for (int step = 0; step < STEPS; step++) {
        struct ls_optimizer_slice slice = {.count = WIDTH, .w = w, .w_out = w, .g = gradients + (size_t)step * WIDTH};
        for (int s = 0; s < ls_optimizer_slot_count(optimizer); s++)
            slice.slots[s] = slice.slots_out[s] = slots[s];
        ls_optimizer_advance(optimizer, counters, counters);
        ls_optimizer_apply(optimizer, device, counters, &slice);
        near(cases[c].id, step, w, path + (size_t)(step + 1) * WIDTH, 2e-6);
    }
    for (int s = 0; s < ls_optimizer_slot_count(optimizer); s++)
        near(cases[c].slots[s], STEPS, slots[s], ls_npz_find(npz, cases[c].slots[s])->data, 2e-6);
    ls_optimizer_destroy(optimizer);
}

/* Ten steps of every optimizer follow Keras', its slots too, on both devices. */
Test(optimizer, keras)
{
    static const char *const devices[] = {"ref", "cpu"};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_npz *npz = NULL;
    CHECK(ls_npz_open(LS_SOURCE_DIR "/tests/data/keras/optimizers/optimizers.npz", &npz, &err));
    for (int d = 0; d < 2; d++) {
        struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
        struct ls_device *device = NULL;
        CHECK(ls_device_open(devices[d], &options, &device, &err));
        for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
            check_path(npz, c, device);
        ls_device_close(device);
    }
    ls_npz_close(npz);
}

/* The state that goes into checkpoints: slots and counters by name, counters multiplied in f64 by the f32 constant. */
Test(optimizer, state)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_optimizer_options options = LS_OPTIMIZER_OPTIONS_DEFAULT;
    struct ls_optimizer *optimizer = NULL;
    double from[2] = {1.0, 1.0}, to[2];
    CHECK(ls_optimizer_create(&options, &optimizer, &err));
    cr_assert_eq(ls_optimizer_slot_count(optimizer), 2);
    cr_assert_str_eq(ls_optimizer_slot_name(optimizer, 0), "m");
    cr_assert_str_eq(ls_optimizer_slot_name(optimizer, 1), "v");
    cr_assert_eq(ls_optimizer_counter_count(optimizer), 2);
    cr_assert_str_eq(ls_optimizer_counter_name(optimizer, 1), "beta2_power");
    ls_optimizer_advance(optimizer, from, to);
    ls_optimizer_advance(optimizer, to, to);
    cr_assert(to[0] == (double)0.9f * (double)0.9f && to[1] == (double)0.999f * (double)0.999f);
    cr_assert(from[0] == 1.0, "the state before the step stays");
    ls_optimizer_destroy(optimizer);
    options.name = "sgd";
    CHECK(ls_optimizer_create(&options, &optimizer, &err));
    cr_assert_eq(ls_optimizer_slot_count(optimizer), 0);
    cr_assert_eq(ls_optimizer_counter_count(optimizer), 0);
    ls_optimizer_destroy(optimizer);
}

static void refuse(struct ls_optimizer_options options, const char *word)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_optimizer *optimizer = NULL;
    cr_assert_eq(ls_optimizer_create(&options, &optimizer, &err), LS_EINVAL);
    cr_assert_not_null(strstr(err.message, word), "\"%s\" does not say %s", err.message, word);
}

/* A wrong option is named. */
Test(optimizer, refuses)
{
    refuse((struct ls_optimizer_options){.name = "adan", .learning_rate = 0.1f}, "did you mean \"adam\"");
    refuse((struct ls_optimizer_options){.name = "sgd", .learning_rate = -0.1f}, "learning_rate");
    refuse((struct ls_optimizer_options){.name = "sgd", .learning_rate = NAN}, "learning_rate");
    refuse((struct ls_optimizer_options){.name = "sgd", .learning_rate = 0.1f, .momentum = 1.5f}, "momentum");
    refuse((struct ls_optimizer_options){.name = "adam", .learning_rate = 0.1f, .beta1 = 1.0, .beta2 = 0.5}, "beta1");
    refuse((struct ls_optimizer_options){.name = "adam", .learning_rate = 0.1f, .beta2 = -1.0}, "beta2");
    refuse((struct ls_optimizer_options){.name = "adam", .learning_rate = 0.1f, .epsilon = -1.0f}, "epsilon");
}
