/* SPDX-License-Identifier: Apache-2.0 */
/* Job files: defaults, overrides, one sentence for every mistake, and what makes two jobs the same. */
#include "core/job/job.h"
#include "core/job/transport.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/device/shards.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char text[] = "version: 1\n"
                           "batch: {size: 64}\n"
                           "model: m.json\n"
                           "data:\n"
                           "  train: {format: idx, features: x.idx, labels: y.idx}\n"
                           "loss: sparse_categorical_crossentropy\n"
                           "metrics: [accuracy]\n"
                           "optimizer: adam\n"
                           "run:\n"
                           "  workers: 2\n";

static char *directory, *path;

static void begin(void)
{
    directory = lst_scratch_create();
    path = lst_scratch_file(directory, "job.yaml", text, sizeof text - 1);
    ls_free(lst_scratch_file(directory, "m.json", "{\"a\": 1.0}", 10));
    ls_free(lst_scratch_file(directory, "x.idx", "\0\0\10\2\0\0\0\2\0\0\0\1ab", 14));
    ls_free(lst_scratch_file(directory, "y.idx", "\0\0\10\1\0\0\0\2\1\0", 10));
}

static void end(void)
{
    ls_free(path);
    lst_scratch_remove(directory);
}

TestSuite(job, .init = begin, .fini = end);

static struct ls_job *load(const char *const *overrides, int count)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = NULL;

    cr_assert_eq(ls_job_load(path, overrides, count, &job, &err), LS_OK, "%s", err.message);
    return job;
}

static char *canonical(const char *override)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = load(&override, override != NULL);
    char *json = NULL;

    cr_assert_eq(ls_job_canonical_json(job, &json, &err), LS_OK, "%s", err.message);
    ls_job_destroy(job);
    return json;
}

/* What is not written has the documented default, and paths are relative to the file. */
Test(job, defaults)
{
    struct ls_job *job = load(NULL, 0);
    char *expected = ls_path_join(directory, "out/job");

    cr_assert(job->version == 1 && job->numerics == 1 && job->seed == 1 && !job->fast);
    cr_assert(job->batch_size == 64 && job->batch_shards == 0 && job->epochs == 1 && job->shuffle);
    cr_assert_eq(memcmp(job->model_text, "{\"a\": 1.0}", 11), 0);
    cr_assert_eq(job->model_length, 10);
    cr_assert_null(job->initial_weights);
    cr_assert_null(job->validation.format);
    cr_assert_str_eq(job->loss, "sparse_categorical_crossentropy");
    cr_assert(!job->from_logits && job->metric_count == 1);
    cr_assert_str_eq(job->optimizer.name, "adam");
    cr_assert(job->optimizer.learning_rate == 0.001 && job->optimizer.beta1 == 0.9 && job->optimizer.beta2 == 0.999 &&
              job->optimizer.epsilon == 1e-7);
    cr_assert_str_eq(job->strategy, "multi_worker");
    cr_assert(job->workers == 2 && job->replicas == 1 && job->threads == 1 && !job->eager && job->micro_shards == 0);
    cr_assert_str_eq(job->transport, "auto");
    cr_assert_str_eq(job->device, "cpu");
    cr_assert_null(job->isa);
    cr_assert_str_eq(job->checkpoint_directory, expected);
    cr_assert(job->checkpoint_every_steps == 0 && job->checkpoint_every_minutes == 10 && job->checkpoint_keep == 2);
    cr_assert_eq(job->max_steps, 0);
    ls_free(expected);
    ls_job_destroy(job);
}

/* Overrides replace, add, extend the short forms of loss and optimizer, and unset with an empty value. */
Test(job, overrides)
{
    static const char *const sets[] = {"seed=18446744073",
                                       "math=fast",
                                       "batch.shards=16",
                                       "data.shuffle=false",
                                       "loss.from_logits=true",
                                       "metrics=[mse, accuracy]",
                                       "optimizer={name: sgd, momentum: 0.5}",
                                       "optimizer.nesterov=true",
                                       "run.workers=1",
                                       "run.replicas=3",
                                       "run.checkpoint.every_steps=7",
                                       "run.checkpoint.directory=/abs",
                                       "run.execution=eager",
                                       "run.isa=avx2",
                                       "run.isa=",
                                       "run.max_steps=24"};
    struct ls_job *job = load(sets, sizeof sets / sizeof *sets);

    cr_assert(job->seed == 18446744073 && job->fast && job->batch_shards == 16 && !job->shuffle && job->from_logits);
    cr_assert_eq(job->metric_count, 2);
    cr_assert_str_eq(job->metrics[0], "mean_squared_error");
    cr_assert_str_eq(job->optimizer.name, "sgd");
    cr_assert(job->optimizer.momentum == 0.5 && job->optimizer.nesterov && job->optimizer.learning_rate == 0.01);
    cr_assert_str_eq(job->strategy, "mirrored");
    cr_assert(job->replicas == 3 && job->eager && job->isa == NULL && job->max_steps == 24);
    cr_assert_str_eq(job->checkpoint_directory, "/abs");
    cr_assert(job->checkpoint_every_steps == 7 && job->checkpoint_every_minutes == 0);
    ls_job_destroy(job);
}

static void expect_error(const char *override, enum ls_status status, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = NULL;

    cr_assert_eq(ls_job_load(path, &override, 1, &job, &err), status, "%s: %s", override, err.message);
    cr_assert(strstr(err.message, part) != NULL, "%s: %s", override, err.message);
}

/* Overrides that are wrong, and a part of what is said. */
static const struct {
    const char *override, *part;
} mistakes[] = {
    {"optimiser=adam", "optimiser is not a key of a job; did you mean optimizer?"},
    {"run.worker=2", "did you mean run.workers?"},
    {"data.train.label=x", "did you mean data.train.labels?"},
    {"run.checkpoint.zzzz=2", "run.checkpoint.zzzz is not a key of a job"},
    {"seed=abc", "seed must be a whole number, not \"abc\""},
    {"seed=1.5", "seed must be a whole number, not 1.5"},
    {"seed=-1", "seed must be from 0"},
    {"epochs=0", "epochs must be from 1"},
    {"version=2", "version must be 1, the only one that this program knows, not 2"},
    {"numerics=2", "numerics must be 1, the only one"},
    {"math=exat", "did you mean exact?"},
    {"compression=top_k", "compression is top_k, which loses bits of the gradients; set math: fast"},
    {"compression={name: bf16}", "set math: fast"},
    {"compression=topk", "did you mean top_k?"},
    {"compression=[1]", "compression must be a section"},
    {"compression={ratio: 0.5}", "compression.name is missing"},
    {"compression={name: top_k, rank: 2}", "compression.rank is not an option of top_k"},
    {"compression={name: power_sgd, ratio: 0.5}", "compression.ratio is not an option of power_sgd"},
    {"compression={name: bf16, rank: 2}", "compression.rank is not an option of bf16"},
    {"compression={name: none, rank: 2}", "compression.rank is not an option of none"},
    {"compression={name: top_k, ratio: 0}", "compression.ratio must be greater than 0"},
    {"compression={name: power_sgd, rank: 0}", "compression.rank must be from 1"},
    {"compression={name: power_sgd, start_step: -1}", "compression.start_step must be from 0"},
    {"compresion=bf16", "did you mean compression?"},
    {"wire=bf16", "wire is bf16, which rounds sums on their way; set math: fast"},
    {"wire=fp16", "did you mean bf16?"},
    {"batch=3", "batch must be a section"},
    {"batch.size=0", "batch.size must be from 1"},
    {"batch.size=1e3", "batch.size must be a whole number: write 1000 without a point or an exponent"},
    {"batch.shards=6", "batch.shards must be a power of two"},
    {"loss=sparse_categorical_crossentopy", "did you mean sparse_categorical_crossentropy?"},
    {"loss={from_logits: true}", "loss.name is missing"},
    {"loss={name: mse, from_logits: true}", "loss.from_logits is not an option of mse"},
    {"loss.from_logits=yes", "loss.from_logits must be true or false, not \"yes\""},
    {"metrics=[acuracy]", "did you mean accuracy?"},
    {"metrics=[accuracy, accuracy]", "metrics has accuracy twice"},
    {"metrics=[[accuracy]]", "must be a list of names; [\"accuracy\"] in it is none"},
    {"metrics=[~]", "metrics has an empty entry"},
    {"optimizer.momentum=0.5", "optimizer.momentum is not an option of adam"},
    {"optimizer.learning_rate=0", "optimizer.learning_rate must be greater than 0"},
    {"optimizer.beta_1=1", "optimizer.beta_1 must be"},
    {"optimizer.beta_1=0.99999999", "optimizer.beta_1 must be at least 0 and at most 0.99999994"},
    {"optimizer.beta_2=0.99999999", "optimizer.beta_2 must be"},
    {"optimizer.name=adan", "did you mean adam?"},
    {"data.train=", "data.train is missing"},
    {"data.train.format=csv", "data.train.format is csv"},
    {"data.validation={format: idx, features: x.idx}", "data.validation.labels is missing"},
    {"run.workers=65536", "run.workers must be from 1 to 256"},
    {"run={workers: 20, replicas: 16}", "run.workers is 20 with 16 replicas each; a job has at most 256"},
    {"run.strategy=one_device", "run.strategy is one_device"},
    {"run.strategy=mirrored", "run.strategy is mirrored"},
    {"run.strategy=multiworker", "did you mean multi_worker?"},
    {"run.checkpoint.keep=1", "run.checkpoint.keep must be from 2"},
    {"run.transport=ib", "it may be " LS_TRANSPORTS_TEXT},
    {"run=[1]", "run must be a section"},
    {"no equals sign", "key.path=value"},
    {"=1", "key.path=value"},
    {"a..b=1", "not inside a section"},
    {"version.x=1", "not inside a section"},
    {"seed=[1", "not valid YAML"},
    {"seed=*a", "anchors"},
};

/* Each mistake gives one sentence with the key and, where there is one, a suggestion. */
Test(job, mistakes)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        expect_error(mistakes[i].override, LS_EINVAL, mistakes[i].part);
    expect_error("model=none.json", LS_ENOENT, "none.json");
}

/* A mistake in the file gives its line; one in an override names the override. */
Test(job, where_a_mistake_is)
{
    static const char bad[] = "version: 1\nmodel: m.json\nbatch:\n  size: many\n";
    static const char half[] = "version: 1\nmodel: m.json\ndata:\n  train:\n    format: npy\n";
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *job = NULL;

    cr_assert_eq(ls_job_parse(bad, sizeof bad - 1, "a/b.yaml", NULL, 0, &job, &err), LS_EINVAL);
    cr_assert_str_eq(err.message, "a/b.yaml, line 4: batch.size must be a whole number, not \"many\"");
    expect_error("batch.size=few", LS_EINVAL, "--set batch.size=few: batch.size must be");
    cr_assert_eq(ls_job_parse(half, sizeof half - 1, "a/b.yaml", NULL, 0, &job, &err), LS_EINVAL);
    cr_assert_str_eq(err.message, "a/b.yaml, line 4: data.train.features is missing; a job needs it");
    expect_error("x.y.z=3", LS_EINVAL, "--set x.y.z=3: x is not a key of a job");
    expect_error("metrics=[accuracy", LS_EINVAL, "--set metrics=[accuracy: it is not valid YAML");
    expect_error("metrics=[accuracy,\n", LS_EINVAL, "--set metrics=[accuracy,\n, line 2: it is not valid YAML");
    expect_error("metrics={a: 1}", LS_EINVAL, "metrics must be a list of names");
    expect_error("batch={size: few}", LS_EINVAL, "--set batch={size: few}: batch.size must be");
    expect_error("optimizer={}", LS_EINVAL, "--set optimizer={}: optimizer.name is missing");
    expect_error("loss={name: mse, from_logits: true}", LS_EINVAL, "--set loss={name: mse, from_logits: true}: loss.");
    expect_error("data.train.labels=", LS_EINVAL, "--set data.train.labels=: data.train.labels is missing");
    expect_error("data.train={format: idx, labels: y.idx}", LS_EINVAL,
                 "labels: y.idx}: data.train.features is missing");
}

/* Empty files, lists and half files are no jobs; JSON is. */
Test(job, texts)
{
    static const char *const bad[] = {"", "# nothing\n", "[1, 2]", "7", "version: 1\n", "a: {", "\x01"};
    static const char json[] =
        "{\"version\": 1, \"model\": \"m.json\", \"loss\": {\"name\": \"mse\"}, \"optimizer\": \"sgd\","
        "\"data\": {\"train\": {\"format\": \"idx\", \"features\": \"x.idx\", \"labels\": \"y.idx\"}}}";
    char *json_path = ls_path_join(directory, "job.json");
    struct ls_job *job = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(ls_job_parse(bad[i], strlen(bad[i]), path, NULL, 0, &job, NULL), LS_EINVAL, "%s", bad[i]);
    for (int as_yaml = 0; as_yaml < 2; as_yaml++) {
        cr_assert_eq(ls_job_parse(json, sizeof json - 1, as_yaml ? path : json_path, NULL, 0, &job, NULL), LS_OK);
        cr_assert_str_eq(job->loss, "mean_squared_error");
        cr_assert_str_eq(job->strategy, "one_device");
        ls_job_destroy(job);
    }
    ls_free(json_path);
}

/* The shards by rule equal the device layer's for every batch size, so that stating them makes no other job. */
Test(job, shards_by_rule)
{
    for (int size = 1; size < 5000; size = size < 600 ? size + 1 : size + 37) {
        char *override = ls_str_format("batch.size=%d", size), *json = canonical(override), *wanted;

        wanted = ls_str_format("\"batch\":{\"shards\":%d,\"size\":%d}", ls_shards_default(size), size);
        cr_assert(strstr(json, wanted) != NULL, "%s", json);
        ls_free(wanted);
        ls_free(json);
        ls_free(override);
    }
}

static void expect_canonical_equal(const char *wanted)
{
    char *json = canonical(NULL);

    cr_assert_str_eq(json, wanted);
    ls_free(json);
}

/* The fingerprint is that of the result: `run`, defaults written out and white space in the model do not count. */
Test(job, what_makes_the_same_job)
{
    static const char *const same[] = {"run.workers=5",
                                       "seed=1",
                                       "optimizer.epsilon=0.0000001",
                                       "batch.shards=8",
                                       "run.checkpoint.directory=elsewhere",
                                       "math=exact",
                                       "wire=f32"};
    static const char *const other[] = {"seed=2",
                                        "batch.size=65",
                                        "math=fast",
                                        "data.shuffle=false",
                                        "epochs=2",
                                        "loss.from_logits=true",
                                        "optimizer.epsilon=1e-8",
                                        "data.train.labels=x.idx",
                                        "initial_weights=x.idx"};
    char *base = canonical(NULL);

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char *json = canonical(same[i]);

        cr_assert_str_eq(json, base, "%s", same[i]);
        ls_free(json);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char *json = canonical(other[i]);

        cr_assert_str_neq(json, base, "%s", other[i]);
        ls_free(json);
    }
    ls_free(lst_scratch_file(directory, "m.json", "{ \"a\":1 }", 9));
    expect_canonical_equal(base);
    ls_free(base);
}

/* A method's options count, defaults written out or not; none is as if the key were not there. */
Test(job, compression)
{
    static const char *const sets[] = {"math=fast", "compression={name: power_sgd, rank: 4, start_step: 9}"};
    static const char *const plain[] = {"math=fast", "compression=top_k"};
    static const char *const written[] = {"math=fast", "compression={name: top_k, ratio: 0.01}"};
    static const char *const other[] = {"math=fast", "compression={name: top_k, ratio: 0.02}"};
    static const char *const both[] = {"math=fast", "compression=bf16", "wire=bf16"};
    static const char *const apart[] = {"math=fast", "compression=top_k", "compression.ratio=0.02"};
    struct ls_error err = LS_ERROR_INIT;
    struct ls_job *refused = NULL;
    char *base = canonical(NULL), *none = canonical("compression=none"), *json[4];
    struct ls_job *job = load(sets, 2), *all[4] = {load(plain, 2), load(written, 2), load(other, 2), load(apart, 3)};

    cr_assert_eq(ls_job_load(path, both, 3, &refused, &err), LS_EINVAL);
    cr_assert(strstr(err.message, "compression is bf16") != NULL, "%s", err.message);
    cr_assert_str_eq(job->compression.name, "power_sgd");
    cr_assert(job->compression.rank == 4 && job->compression.start_step == 9);
    cr_assert_str_eq(none, base);
    cr_assert_null(strstr(base, "compression"));
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(ls_job_canonical_json(all[i], &json[i], NULL), LS_OK);
        ls_job_destroy(all[i]);
    }
    cr_assert_str_eq(json[0], json[1]);
    cr_assert_str_neq(json[0], json[2]);
    cr_assert_str_eq(json[3], json[2]);
    for (int i = 0; i < 4; i++)
        ls_free(json[i]);
    ls_free(none);
    ls_free(base);
    ls_job_destroy(job);
}

/* Who gave the number of workers: a launcher's own may only be contradicted by the file. */
Test(job, workers_overridden)
{
    static const struct {
        const char *override;
        bool overridden;
        int workers;
    } all[] = {{"epochs=2", false, 2},
               {"run.workers=3", true, 3},
               {"run={workers: 4}", true, 4},
               {"run={threads: 2}", false, 1},
               {"run.workers=", false, 1}};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct ls_job *job = load(&all[i].override, 1);

        cr_expect_eq(job->workers_overridden, all[i].overridden, "%s", all[i].override);
        cr_expect_eq(job->workers, all[i].workers, "%s", all[i].override);
        ls_job_destroy(job);
    }
}

/* A seed that a JSON number would round keeps its last digit. */
Test(job, large_seed)
{
    char *a = canonical("seed=9007199254740993"), *b = canonical("seed=9007199254740994");

    cr_assert_str_neq(a, b);
    ls_free(a);
    ls_free(b);
}

/* On resume only epochs, learning rate and metrics may differ; anything else is named with both values. */
Test(job, compare)
{
    struct ls_error err = LS_ERROR_INIT;
    char *base = canonical(NULL), *changed = NULL;
    char *epochs = canonical("epochs=9"), *rate = canonical("optimizer.learning_rate=0.5");
    char *metrics = canonical("metrics=[]"), *size = canonical("batch.size=32"), *sgd = canonical("optimizer=sgd");

    cr_assert_eq(ls_job_compare(base, base, "put it back", &changed, &err), LS_OK);
    cr_assert_null(changed);
    cr_assert_eq(ls_job_compare(base, epochs, "put it back", &changed, &err), LS_OK);
    cr_assert_str_eq(changed, "epochs (was 1, is 9)");
    ls_free(changed);
    cr_assert_eq(ls_job_compare(base, rate, "put it back", &changed, &err), LS_OK);
    cr_assert_str_eq(changed, "optimizer.learning_rate (was 0.001, is 0.5)");
    ls_free(changed);
    cr_assert_eq(ls_job_compare(base, metrics, "put it back", &changed, &err), LS_OK);
    ls_free(changed);
    cr_assert_eq(ls_job_compare(base, size, "put it back", &changed, &err), LS_EINVAL);
    cr_assert(strstr(err.message, "batch.size was 64 in the checkpoint and is 32") != NULL, "%s", err.message);
    cr_assert_eq(ls_job_compare(base, sgd, "put it back", &changed, &err), LS_EINVAL);
    cr_assert_eq(ls_job_compare("{", base, "put it back", &changed, &err), LS_EINVAL);
    ls_free(base);
    ls_free(epochs);
    ls_free(rate);
    ls_free(metrics);
    ls_free(size);
    ls_free(sgd);
}

/* Short memory at any allocation is an error, never a crash or a half-read job. */
Test(job, short_memory)
{
    enum ls_status status = LS_ENOMEM;

    for (uint64_t nth = 1; status != LS_OK && nth < 2000; nth++) {
        struct ls_job *job = NULL;

        ls_alloc_fail_after(nth);
        status = ls_job_load(path, NULL, 0, &job, NULL);
        ls_alloc_fail_after(0);
        ls_job_destroy(job);
    }
    cr_assert_eq(status, LS_OK);
}
