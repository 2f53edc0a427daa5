/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives a fuzz target without libFuzzer: every file of a corpus, then a number of mutations of them that are the same
 * on every machine. On a failure the input that did it is in the file named by the last line of output.
 * usage: PROGRAM CORPUS_DIRECTORY MUTATIONS SCRATCH_FILE
 */
#include "tests/fuzz/fuzz.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_INPUT ((size_t)1 << 20)

static const char *failure_path;
static struct ls_buf current;

static void keep_input(int number)
{
    (void)ls_fs_write(failure_path, current.data, current.length, NULL);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static uint64_t state = 1;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below > 0 ? state % below : 0;
}

static void run_input(const uint8_t *data, size_t length)
{
    uint8_t *exact;

    current.length = 0;
    (void)ls_buf_append(&current, data, length);
    /* A block of exactly this size, so that sanitizers see one byte too many. */
    exact = ls_alloc(length);
    if (length > 0)
        memcpy(exact, data, length);
    (void)LLVMFuzzerTestOneInput(exact, length);
    ls_free(exact);
}

/* Overwrites with values that sit on the edges of what decoders check. */
static void put_edge(uint8_t *at, size_t room)
{
    static const uint64_t edges[] = {0,      1,          0x7f,       0x80,       0xff,      0x7fff,
                                     0xffff, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX};
    uint64_t value = edges[draw(sizeof edges / sizeof *edges)];
    size_t width = (size_t)1 << draw(4);

    for (size_t i = 0; i < width && i < room; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void mutate(struct ls_buf *input, const struct ls_buf *other)
{
    size_t at = (size_t)draw(input->length), count = 1 + (size_t)draw(16);

    if (count > input->length - at)
        count = input->length - at;
    if (input->length == 0)
        return;
    switch (draw(8)) {
    case 0:
        input->data[at] ^= (uint8_t)(1 << draw(8));
        return;
    case 1:
        input->data[at] = (uint8_t)draw(256);
        return;
    case 2:
        put_edge(input->data + at, input->length - at);
        return;
    case 3: /* cut out */
        memmove(input->data + at, input->data + at + count, input->length - at - count);
        input->length -= count;
        return;
    case 4: /* double a piece */
        if (ls_buf_extend(input, count) != NULL)
            memmove(input->data + at + count, input->data + at, input->length - at - count);
        return;
    case 5: /* cut off */
        input->length = at;
        return;
    case 6: /* overwrite with a piece of another input */
        for (size_t i = 0; i < count && other->length > 0; i++)
            input->data[at + i] = other->data[(at + i) % other->length];
        return;
    default: /* a digit or sign: for text formats */
        input->data[at] = (uint8_t) "0123456789-+.eE{}[]\",: \n\\"[draw(25)];
    }
}

static struct ls_buf *read_corpus(const char *directory, size_t *count)
{
    char **names = NULL;
    struct ls_buf *inputs;

    if (ls_fs_list(directory, &names, count, NULL) != LS_OK || *count == 0)
        return NULL;
    inputs = ls_alloc_zeroed(*count, sizeof *inputs);
    for (size_t i = 0; inputs != NULL && i < *count; i++) {
        char *path = ls_path_join(directory, names[i]);

        if (ls_fs_read(path, MAX_INPUT, &inputs[i], NULL) != LS_OK)
            fprintf(stderr, "cannot read %s\n", path);
        ls_free(path);
    }
    ls_free(names);
    return inputs;
}

static void run_mutations(const struct ls_buf *inputs, size_t count, int64_t mutations)
{
    struct ls_buf input = {0};

    for (int64_t i = 0; i < mutations; i++) {
        const struct ls_buf *from = &inputs[draw(count)];

        input.length = 0;
        (void)ls_buf_append(&input, from->data, from->length);
        for (uint64_t changes = 1 + draw(6); changes > 0; changes--)
            mutate(&input, &inputs[draw(count)]);
        run_input(input.data, input.length);
    }
    ls_buf_deinit(&input);
}

int main(int argc, char **argv)
{
    int64_t mutations = 0;
    size_t count = 0;
    struct ls_buf *inputs;

    if (argc != 4 || !ls_str_to_i64(argv[2], &mutations)) {
        fprintf(stderr, "usage: %s CORPUS_DIRECTORY MUTATIONS SCRATCH_FILE\n", argv[0]);
        return 2;
    }
    failure_path = argv[3];
    (void)signal(SIGABRT, keep_input);
    (void)signal(SIGSEGV, keep_input);
    inputs = read_corpus(argv[1], &count);
    if (inputs == NULL) {
        fprintf(stderr, "there is no corpus in %s\n", argv[1]);
        return 2;
    }
    printf("%zu files, %lld mutations; an input that fails is kept in %s\n", count, (long long)mutations, failure_path);
    (void)fflush(stdout);
    run_input(NULL, 0);
    for (size_t i = 0; i < count; i++)
        run_input(inputs[i].data, inputs[i].length);
    run_mutations(inputs, count, mutations);
    for (size_t i = 0; i < count; i++)
        ls_buf_deinit(&inputs[i]);
    ls_free(inputs);
    ls_buf_deinit(&current);
    return 0;
}
