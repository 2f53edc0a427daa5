/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a job that do not fit each other are refused with the key that is wrong. */
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <string.h>

static char directory[64];

static void make(void)
{
    static float images[100 * 784];
    static int32_t labels[100];

    lst_step_directory_init(directory);
    lst_step_write_npy(directory, "x32.npy", LS_F32, LS_SHAPE(100, 28, 28), images);
    lst_step_write_npy(directory, "y100.npy", LS_I32, LS_SHAPE(100), labels);
}

static void discard(void)
{
    lst_step_directory_deinit(directory);
}

static void expect_refused(const char *const *overrides, int count, const char *said)
{
    struct ls_job *job = lst_step_job_with(directory, "mlp.json", "{workers: 1}", overrides, count);
    struct ls_trainer *trainer = NULL;
    struct ls_error err = LS_ERROR_INIT;

    cr_expect_eq(ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, &err), LS_EINVAL, "%s", said);
    cr_expect_neq(strstr(err.message, said), NULL, "%s", err.message);
    ls_trainer_close(trainer);
    ls_job_destroy(job);
}

/* One program runs over both sets: a validation set of another dtype would be read as the training set's. */
Test(trainer, validation_of_another_dtype, .init = make, .fini = discard)
{
    static const char *const features[] = {"data.validation.features=x32.npy", "data.validation.labels=y100.npy"};

    expect_refused(features, 2, "data.validation");
}
