/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that a thread gathers ahead: the samples are those of the place that is taken, whatever was guessed. */
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define BATCH 64

static char directory[64];
static struct ls_job *job;
static struct ls_trainer *trainer;
static struct ls_device *device;
static struct ls_step_programs programs;
static struct ls_schedule *schedule; /* of the middle rank of three */
static struct ls_loader *loader;

static void make(void)
{
    struct ls_plan_options options = {.batch_samples = BATCH, .world = 3};
    struct ls_loader_options sets = {.seed = 7, .shuffle = true};

    lst_step_directory_init(directory);
    job = lst_step_job(directory, "mlp.json", "{workers: 1}");
    cr_assert_eq(ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, NULL), LS_OK);
    cr_assert_eq(ls_trainer_device(trainer, &device, NULL), LS_OK);
    programs = (struct ls_step_programs){.trainer = trainer, .device = device};
    options.v_total = trainer->v_total;
    cr_assert_eq(ls_schedule_create(&programs, LS_STEP_TRAIN, &options, 1, &schedule, NULL), LS_OK);
    sets.dataset[LS_STEP_TRAIN] = trainer->train;
    sets.samples = schedule->samples;
    cr_assert_eq(ls_loader_create(&sets, &loader, NULL), LS_OK);
}

static void discard(void)
{
    ls_loader_destroy(loader);
    ls_schedule_destroy(schedule);
    ls_step_programs_deinit(&programs);
    ls_device_close(device);
    ls_trainer_close(trainer);
    ls_job_destroy(job);
    lst_step_directory_deinit(directory);
}

static struct ls_batch_place place_of(uint64_t epoch, int64_t batch)
{
    return (struct ls_batch_place){.schedule = schedule, .epoch = epoch, .first = batch * BATCH};
}

/* What is at a place, gathered at once by the order of the epoch. */
static void expect_batch(const struct ls_batch_place *place, const uint8_t *features, const uint8_t *labels)
{
    static uint8_t x[BATCH * 28 * 28], y[BATCH * 4];
    struct ls_epoch_order order = {.seed = 7, .shuffle = true, .count = LST_STEP_SAMPLES};
    int64_t index[BATCH], n = schedule->samples;

    ls_epoch_indices(&order, place->epoch, place->first + schedule->calls[0].shards.first_sample, n, index);
    ls_dataset_gather(trainer->train, index, n, ls_dataset_feature_dtype(trainer->train), x, y);
    cr_expect_arr_eq(features, x, (size_t)n * 28 * 28);
    cr_expect_arr_eq(labels, y, (size_t)n * 4);
}

/* Whether the guess was right, wrong or not made, the batch is the one that was asked for, in any order of places. */
Test(loader, gives_the_place_that_is_taken, .init = make, .fini = discard)
{
    cr_assert_gt(schedule->samples, 0);
    for (int i = 0; i < 200; i++) {
        struct ls_batch_place now = place_of((uint64_t)(i / 3), i % 4),
                              guess = place_of((uint64_t)(i + 1) / 3, (i * 7 + 1) % 4);
        uint8_t *features, *labels;

        cr_assert_eq(ls_loader_take(loader, &now, &features, &labels, NULL), LS_OK);
        expect_batch(&now, features, labels);
        if (i % 3 != 2)
            ls_loader_ahead(loader, &guess);
        if (i % 5 == 0)
            ls_loader_ahead(loader, &now);
        expect_batch(&now, features, labels);
    }
}

/* The order is carried out by the thread, once: a mark that is put into what was gathered is there when it is taken. */
Test(loader, gathers_ahead_only_once, .init = make, .fini = discard)
{
    struct ls_batch_place first = place_of(0, 0), second = place_of(0, 1);
    uint8_t *used, *other, *labels;

    cr_assert_eq(ls_loader_take(loader, &first, &used, &labels, NULL), LS_OK);
    ls_loader_ahead(loader, &second);
    cr_assert_eq(ls_loader_take(loader, &second, &other, &labels, NULL), LS_OK);
    cr_expect_neq(used, other, "the batch in use is not written over");
    used[0] ^= 0xFF;
    cr_assert_eq(ls_loader_take(loader, &first, &other, &labels, NULL), LS_OK);
    cr_expect_eq(other, used);
    used[0] ^= 0xFF;
    expect_batch(&first, other, labels); /* taken as it lay there, mark and all */
}

/* It ends while an order is open. */
Test(loader, ends_with_an_order_open, .init = make, .fini = discard)
{
    struct ls_batch_place place = place_of(3, 2);

    ls_loader_ahead(loader, &place);
}

#define HANG_BYTES ((size_t)LST_STEP_SAMPLES * 28 * 28)

static uint8_t *hanging;
static int hangs[2], answer[2]; /* pipes: a reader hangs, the file system answers */

/* A page of a file whose file system hangs: whoever touches it stays until it answers. */
static void on_fault(int number)
{
    pid_t thread = gettid();
    char byte = 0;

    (void)number;
    if (write(hangs[1], &thread, sizeof thread) != (ssize_t)sizeof thread || read(answer[0], &byte, 1) != 1 ||
        mprotect(hanging, HANG_BYTES, PROT_READ) != 0)
        _exit(3);
}

static struct ls_dataset *open_hanging(void)
{
    static uint8_t labels[LST_STEP_SAMPLES];
    struct ls_view x = {.dtype = LS_U8, .shape = {.rank = 3, .dim = {LST_STEP_SAMPLES, 28, 28}}};
    struct ls_view y = {.dtype = LS_U8, .shape = {.rank = 1, .dim = {LST_STEP_SAMPLES}}, .data = labels};
    struct sigaction action = {.sa_handler = on_fault};
    struct ls_dataset *set;

    cr_assert_eq(pipe(hangs) + pipe(answer), 0);
    cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
    hanging = mmap(NULL, HANG_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(hanging, MAP_FAILED);
    x.data = hanging;
    cr_assert_eq(ls_dataset_from_memory(&x, &y, &set, NULL), LS_OK);
    return set;
}

/* Where the samples cannot be read, the end comes all the same, and takes nothing from under the thread: it reads on
 * when the file system answers, and ends. */
Test(loader, ends_while_the_file_system_hangs, .init = make, .fini = discard, .timeout = 60)
{
    struct ls_loader_options sets = {.seed = 7, .samples = schedule->samples, .end_deadline_ms = 50};
    struct ls_batch_place place = place_of(0, 1);
    struct ls_loader *stuck;
    char byte = 0, task[64];
    pid_t thread;

    sets.dataset[LS_STEP_TRAIN] = open_hanging();
    cr_assert_eq(ls_loader_create(&sets, &stuck, NULL), LS_OK);
    ls_dataset_close(sets.dataset[LS_STEP_TRAIN]);
    ls_loader_ahead(stuck, &place);
    cr_assert_eq(read(hangs[0], &thread, sizeof thread), (ssize_t)sizeof thread);
    (void)snprintf(task, sizeof task, "/proc/self/task/%ld", (long)thread);
    ls_loader_destroy(stuck);
    cr_expect_eq(access(task, F_OK), 0, "it has ended without its samples");
    cr_assert_eq(write(answer[1], &byte, 1), 1);
    while (access(task, F_OK) == 0)
        (void)sched_yield();
}
