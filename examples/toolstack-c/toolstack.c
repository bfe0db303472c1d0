/* A claimlab toolstack in C: it claims, builds, and reports (docs/protocol.md).
 *
 * usage: toolstack ACCESS_FILE
 *
 * One ZeroMQ frame is one msgpack value. Hypercalls go to the hypervisor's socket, orders come from the
 * launcher's. A hypercall that is not answered in time is indefinite: it is sent again, over a new connection
 * and under its old number, and the hypervisor answers from memory if it had been carried out.
 */
#include <cjson/cJSON.h>
#include <msgpack.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum {                                  /* tags: (hypercall number << 8) | operation, as in docs/abi.md */
    POPULATE_PHYSMAP = 12 << 8 | 6,
    CLAIM_PAGES = 12 << 8 | 24,
    CREATEDOMAIN = 36 << 8 | 1,
    DESTROYDOMAIN = 36 << 8 | 2,
    UNPAUSEDOMAIN = 36 << 8 | 4,
    MAX_MEM = 36 << 8 | 11,
    STORE_WRITE = 0x10000 | 11,
};
enum { HELLO = 1, CALL = 2, PING = 4 };             /* to the hypervisor */
enum { WELCOME = 1, ANSWER = 2, REFUSED = 3 };      /* from it */
enum { DOMID_ANY = 0x7ff5, CDF_HVM = 1, CDF_HAP = 2, KIB_PER_PAGE = 4, EAGAIN_XEN = 11 };
enum { SUPERPAGE_ORDER = 9, SUPERPAGE_PAGES = 1 << SUPERPAGE_ORDER };
enum { PING_MS = 500, ANSWER_MS = 2000, TRIES = 10 };

static void *context;

static void die(const char *text) {
    fprintf(stderr, "toolstack: %s\n", text);
    exit(1);
}

/* ---- the access file */

struct access {
    char endpoint[256], orders_endpoint[256];
    unsigned char control_secret[64], orders_secret[64];
    size_t control_secret_length, orders_secret_length;
    int hvm;
};

static const char *text_of(const cJSON *document, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(document, key);
    if (!cJSON_IsString(item)) die("the access file lacks a key: is it toolstack-access.json?");
    return item->valuestring;
}

static size_t bytes_of(const char *hexadecimal, unsigned char *bytes, size_t room) {
    size_t length = strlen(hexadecimal) / 2;
    if (length > room) die("a secret is too long");
    for (size_t i = 0; i < length; i++) sscanf(hexadecimal + 2 * i, "%2hhx", &bytes[i]);
    return length;
}

static struct access read_access(const char *path) {
    static char text[8192];
    FILE *file = fopen(path, "r");
    if (!file) die("cannot read the access file");
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    cJSON *document = cJSON_Parse(text);
    if (!document) die("the access file is not JSON");
    struct access known = {0};
    snprintf(known.endpoint, sizeof known.endpoint, "%s", text_of(document, "endpoint"));
    snprintf(known.orders_endpoint, sizeof known.orders_endpoint, "%s", text_of(document, "orders_endpoint"));
    known.control_secret_length = bytes_of(text_of(document, "control_secret"), known.control_secret, 64);
    known.orders_secret_length = bytes_of(text_of(document, "orders_secret"), known.orders_secret, 64);
    known.hvm = strncmp(text_of(document, "builder"), "hvm", 3) == 0;
    cJSON_Delete(document);
    return known;
}

/* ---- msgpack */

static void pack_text(msgpack_packer *packer, const char *text) {
    msgpack_pack_str(packer, strlen(text));
    msgpack_pack_str_body(packer, text, strlen(text));
}

static void pack_bytes(msgpack_packer *packer, const void *bytes, size_t length) {
    msgpack_pack_bin(packer, length);
    msgpack_pack_bin_body(packer, bytes, length);
}

/* An array of unsigned numbers. */
static void pack_numbers(msgpack_packer *packer, int count, ...) {
    va_list numbers;
    va_start(numbers, count);
    msgpack_pack_array(packer, count);
    for (int i = 0; i < count; i++) msgpack_pack_uint64(packer, va_arg(numbers, uint64_t));
    va_end(numbers);
}

static int64_t number(msgpack_object object) {
    return object.type == MSGPACK_OBJECT_POSITIVE_INTEGER ? (int64_t)object.via.u64 : object.via.i64;
}

static msgpack_object element(msgpack_object array, uint32_t index) {
    if (array.type != MSGPACK_OBJECT_ARRAY || index >= array.via.array.size) die("an array is too short");
    return array.via.array.ptr[index];
}

/* The value of a key of a map, or NULL. */
static const msgpack_object *value_of(msgpack_object map, const char *key) {
    for (uint32_t i = 0; map.type == MSGPACK_OBJECT_MAP && i < map.via.map.size; i++) {
        const msgpack_object_kv *pair = &map.via.map.ptr[i];
        if (pair->key.via.str.size == strlen(key) && !memcmp(pair->key.via.str.ptr, key, strlen(key)))
            return &pair->val;
    }
    return NULL;
}

static int has_type(msgpack_object map, const char *type) {
    const msgpack_object *found = value_of(map, "type");
    return found && found->via.str.size == strlen(type) && !memcmp(found->via.str.ptr, type, strlen(type));
}

/* ---- the hypervisor */

struct hypervisor {
    const struct access *access;
    void *socket;
    uint64_t incarnation, seq;
    msgpack_sbuffer frame;      /* the Call under way, kept until it is answered */
    msgpack_packer packer;
    zmq_msg_t message;          /* the last one that came; its bytes are part of `answer` */
    msgpack_unpacked answer;
    int64_t ret;                /* of the last request: a count, 0, or a negative errno */
    uint64_t commit;            /* its last commit */
    msgpack_object value;       /* valid until the next request */
};

static void connect_hypervisor(struct hypervisor *hypervisor) {
    const struct access *access = hypervisor->access;
    if (hypervisor->socket) zmq_close(hypervisor->socket);
    hypervisor->socket = zmq_socket(context, ZMQ_DEALER);
    int linger = 0;
    zmq_setsockopt(hypervisor->socket, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_connect(hypervisor->socket, access->endpoint)) die("cannot connect to the hypervisor");
    msgpack_sbuffer hello;
    msgpack_packer packer;
    msgpack_sbuffer_init(&hello);
    msgpack_packer_init(&packer, &hello, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 6);
    msgpack_pack_uint64(&packer, HELLO);
    msgpack_pack_uint64(&packer, 1); /* the protocol's version */
    msgpack_pack_uint64(&packer, 0); /* the control domain */
    msgpack_pack_uint64(&packer, hypervisor->incarnation);
    pack_bytes(&packer, access->control_secret, access->control_secret_length);
    pack_text(&packer, "toolstack-c");
    zmq_send(hypervisor->socket, hello.data, hello.size, 0);
    msgpack_sbuffer_destroy(&hello);
}

static void ping(struct hypervisor *hypervisor) {
    static const unsigned char frame[] = {0x92, PING, 0};
    zmq_send(hypervisor->socket, frame, sizeof frame, ZMQ_DONTWAIT);
}

/* Begin a Call of one request; the request itself is packed by the caller. */
static msgpack_packer *begin(struct hypervisor *hypervisor) {
    msgpack_packer *packer = &hypervisor->packer;
    msgpack_sbuffer_clear(&hypervisor->frame);
    msgpack_pack_array(packer, 5);
    msgpack_pack_uint64(packer, CALL);
    msgpack_pack_uint64(packer, 0);
    msgpack_pack_uint64(packer, hypervisor->incarnation);
    msgpack_pack_uint64(packer, ++hypervisor->seq);
    msgpack_pack_array(packer, 1);
    return packer;
}

/* Take in one message; 1 when it is the answer to the Call under way. */
static int take(struct hypervisor *hypervisor) {
    zmq_msg_t *message = &hypervisor->message;
    msgpack_unpacked_destroy(&hypervisor->answer);
    msgpack_unpacked_init(&hypervisor->answer);
    zmq_msg_recv(message, hypervisor->socket, 0);
    if (msgpack_unpack_next(&hypervisor->answer, zmq_msg_data(message), zmq_msg_size(message), NULL) < 0)
        die("the hypervisor sent what is no msgpack");
    msgpack_object said = hypervisor->answer.data;
    int64_t tag = number(element(said, 0));
    if (tag == REFUSED) die("the hypervisor refused a message");
    if (tag != ANSWER || number(element(said, 3)) != (int64_t)hypervisor->seq) return 0;
    msgpack_object reply = element(element(said, 4), 0);
    hypervisor->ret = number(element(reply, 0));
    hypervisor->commit = number(element(reply, 2));
    hypervisor->value = element(reply, 3);
    return 1;
}

/* Send the Call and wait for its answer, again and again under the same seq while nobody answers. */
static int64_t finish(struct hypervisor *hypervisor) {
    for (int attempt = 0; attempt < TRIES; attempt++) {
        zmq_send(hypervisor->socket, hypervisor->frame.data, hypervisor->frame.size, 0);
        zmq_pollitem_t item = {hypervisor->socket, 0, ZMQ_POLLIN, 0};
        while (zmq_poll(&item, 1, ANSWER_MS) > 0)
            if (take(hypervisor)) return hypervisor->ret;
        connect_hypervisor(hypervisor);
    }
    die("the hypervisor does not answer");
    return -1;
}

static int64_t destroy(struct hypervisor *hypervisor, uint64_t domid) {
    do { /* Xen 4.3 gives each slice of destruction back to the caller */
        pack_numbers(begin(hypervisor), 2, (uint64_t)DESTROYDOMAIN, domid);
    } while (finish(hypervisor) == -EAGAIN_XEN);
    return hypervisor->ret;
}

static void write_kib(struct hypervisor *hypervisor, uint64_t domid, const char *node, uint64_t pages) {
    char path[80], text[24];
    snprintf(path, sizeof path, "/local/domain/%u/memory/%s", (unsigned)domid, node);
    snprintf(text, sizeof text, "%llu", (unsigned long long)(pages * KIB_PER_PAGE));
    msgpack_packer *packer = begin(hypervisor);
    msgpack_pack_array(packer, 3);
    msgpack_pack_uint64(packer, STORE_WRITE);
    pack_text(packer, path);
    pack_text(packer, text);
    finish(hypervisor);
}

/* ---- a launch */

struct outcome {
    uint64_t order, commit, domid, incarnation, populated, hypercalls;
    unsigned char secret[64];
    size_t secret_length;
    const char *reason;
    msgpack_sbuffer runs;       /* frames, as an array of [first, count] */
};

static void report(void *orders, const struct outcome *outcome, const char *stage) {
    int built = !strcmp(stage, "built");
    msgpack_sbuffer frame;
    msgpack_packer packer;
    msgpack_sbuffer_init(&frame);
    msgpack_packer_init(&packer, &frame, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, built ? 11 : 7);
    pack_text(&packer, "type"), pack_text(&packer, "outcome");
    pack_text(&packer, "order"), msgpack_pack_uint64(&packer, outcome->order);
    pack_text(&packer, "stage"), pack_text(&packer, stage);
    pack_text(&packer, "commit"), msgpack_pack_uint64(&packer, outcome->commit);
    pack_text(&packer, "reason"), pack_text(&packer, outcome->reason);
    pack_text(&packer, "pages_populated"), msgpack_pack_uint64(&packer, outcome->populated);
    pack_text(&packer, "hypercalls"), msgpack_pack_uint64(&packer, outcome->hypercalls);
    if (built) {
        pack_text(&packer, "domid"), msgpack_pack_uint64(&packer, outcome->domid);
        pack_text(&packer, "incarnation"), msgpack_pack_uint64(&packer, outcome->incarnation);
        pack_text(&packer, "secret"), pack_bytes(&packer, outcome->secret, outcome->secret_length);
        pack_text(&packer, "frames");
        msgpack_sbuffer_write(&frame, outcome->runs.data, outcome->runs.size);
    }
    zmq_send(orders, frame.data, frame.size, 0);
    msgpack_sbuffer_destroy(&frame);
}

/* One populate_physmap of `count` extents from gfn `first` on; the extents done. */
static uint64_t populate(struct hypervisor *hypervisor, uint64_t domid, uint64_t first, uint64_t count, int order) {
    msgpack_packer *packer = begin(hypervisor);
    msgpack_pack_array(packer, 4);
    msgpack_pack_uint64(packer, POPULATE_PHYSMAP);
    msgpack_pack_uint64(packer, domid);
    msgpack_pack_array(packer, 1);
    pack_numbers(packer, 2, first, count);
    msgpack_pack_uint64(packer, order);
    int64_t done = finish(hypervisor);
    return done < 0 ? 0 : done;
}

/* Superpages first, single pages for what is left or where no 2 MiB are in one piece. */
static int build(struct hypervisor *hypervisor, struct outcome *outcome, uint64_t pages) {
    uint64_t extents = pages / SUPERPAGE_PAGES;
    uint64_t done = extents ? populate(hypervisor, outcome->domid, 0, extents, SUPERPAGE_ORDER) : 0;
    outcome->populated = done * SUPERPAGE_PAGES;
    if (outcome->populated < pages)
        outcome->populated +=
            populate(hypervisor, outcome->domid, outcome->populated, pages - outcome->populated, 0);
    return outcome->populated == pages;
}

static void undo(struct hypervisor *hypervisor, void *orders, struct outcome *outcome, const char *stage) {
    uint64_t commit = hypervisor->commit;
    destroy(hypervisor, outcome->domid); /* takes the claim along (rule C30) */
    outcome->commit = commit;
    report(orders, outcome, stage);
}

/* createdomain, max_mem, claim, populate, cancel what is left of the claim, unpause. */
static void launch(struct hypervisor *hypervisor, void *orders, uint64_t number_of_order, uint64_t pages,
                   uint64_t max_pages) {
    struct outcome outcome = {.order = number_of_order, .reason = ""};
    uint64_t before = hypervisor->seq;
    pack_numbers(begin(hypervisor), 4, (uint64_t)CREATEDOMAIN, (uint64_t)DOMID_ANY, (uint64_t)(CDF_HVM | CDF_HAP),
                 (uint64_t)1);
    if (finish(hypervisor) < 0) {
        outcome.reason = "ENOMEM from createdomain";
        outcome.commit = hypervisor->commit;
        report(orders, &outcome, "refused");
        return;
    }
    outcome.domid = number(element(hypervisor->value, 1));
    outcome.incarnation = number(element(hypervisor->value, 2));
    msgpack_object secret = element(hypervisor->value, 3);
    outcome.secret_length = secret.via.bin.size < 64 ? secret.via.bin.size : 64;
    memcpy(outcome.secret, secret.via.bin.ptr, outcome.secret_length);

    pack_numbers(begin(hypervisor), 3, (uint64_t)MAX_MEM, outcome.domid, max_pages * KIB_PER_PAGE);
    finish(hypervisor);
    pack_numbers(begin(hypervisor), 3, (uint64_t)CLAIM_PAGES, outcome.domid, pages);
    if (finish(hypervisor) < 0) {
        outcome.reason = "claim_pages refused it";
        outcome.hypercalls = hypervisor->seq - before;
        undo(hypervisor, orders, &outcome, "refused");
        return;
    }
    outcome.commit = hypervisor->commit;
    report(orders, &outcome, "admitted");

    if (!build(hypervisor, &outcome, pages)) {
        outcome.reason = "populate_physmap fell short";
        outcome.hypercalls = hypervisor->seq - before;
        undo(hypervisor, orders, &outcome, "failed");
        return;
    }
    pack_numbers(begin(hypervisor), 3, (uint64_t)CLAIM_PAGES, outcome.domid, (uint64_t)0);
    finish(hypervisor);
    outcome.hypercalls = hypervisor->seq - before + 1;
    write_kib(hypervisor, outcome.domid, "static-max", max_pages);
    write_kib(hypervisor, outcome.domid, "target", pages);
    pack_numbers(begin(hypervisor), 2, (uint64_t)UNPAUSEDOMAIN, outcome.domid);
    finish(hypervisor);
    outcome.commit = hypervisor->commit;
    msgpack_packer packer;
    msgpack_sbuffer_init(&outcome.runs);
    msgpack_packer_init(&packer, &outcome.runs, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 1);
    pack_numbers(&packer, 2, (uint64_t)0, pages);
    report(orders, &outcome, "built");
    msgpack_sbuffer_destroy(&outcome.runs);
}

/* ---- orders */

static void say(void *orders, const char *type, const struct access *access) {
    msgpack_sbuffer frame;
    msgpack_packer packer;
    msgpack_sbuffer_init(&frame);
    msgpack_packer_init(&packer, &frame, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, access ? 3 : 1);
    pack_text(&packer, "type"), pack_text(&packer, type);
    if (access) {
        pack_text(&packer, "name"), pack_text(&packer, "toolstack-c");
        pack_text(&packer, "secret"), pack_bytes(&packer, access->orders_secret, access->orders_secret_length);
    }
    zmq_send(orders, frame.data, frame.size, 0);
    msgpack_sbuffer_destroy(&frame);
}

/* Carry out one order; 0 when it was Dismiss. */
static int serve(struct hypervisor *hypervisor, void *orders, msgpack_object order) {
    if (has_type(order, "dismiss")) return 0;
    uint64_t which = number(*value_of(order, "order"));
    if (has_type(order, "launch")) {
        launch(hypervisor, orders, which, number(*value_of(order, "pages")), number(*value_of(order, "max_pages")));
    } else if (has_type(order, "destroy")) {
        destroy(hypervisor, number(*value_of(order, "domid")));
        struct outcome outcome = {.order = which, .commit = hypervisor->commit, .reason = ""};
        report(orders, &outcome, "destroyed");
    }
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) die("usage: toolstack ACCESS_FILE");
    struct access access = read_access(arguments[1]);
    if (!access.hvm) die("this example builds HVM domains: set toolstack.builder to hvm-4.17");
    context = zmq_ctx_new();
    struct hypervisor hypervisor = {.access = &access, .incarnation = (uint64_t)getpid()};
    msgpack_sbuffer_init(&hypervisor.frame);
    msgpack_packer_init(&hypervisor.packer, &hypervisor.frame, msgpack_sbuffer_write);
    msgpack_unpacked_init(&hypervisor.answer);
    zmq_msg_init(&hypervisor.message);
    connect_hypervisor(&hypervisor);
    void *orders = zmq_socket(context, ZMQ_DEALER);
    if (zmq_connect(orders, access.orders_endpoint)) die("cannot connect to the launcher");
    say(orders, "enlist", &access);

    for (int working = 1; working;) {
        zmq_pollitem_t item = {orders, 0, ZMQ_POLLIN, 0};
        if (zmq_poll(&item, 1, PING_MS) <= 0) {
            ping(&hypervisor);
            continue;
        }
        zmq_msg_t message;
        msgpack_unpacked order;
        zmq_msg_init(&message);
        zmq_msg_recv(&message, orders, 0);
        msgpack_unpacked_init(&order);
        if (msgpack_unpack_next(&order, zmq_msg_data(&message), zmq_msg_size(&message), NULL) < 0)
            die("the launcher sent what is no msgpack");
        working = serve(&hypervisor, orders, order.data);
        msgpack_unpacked_destroy(&order);
        zmq_msg_close(&message);
    }
    say(orders, "farewell", NULL);
    zmq_close(orders); /* the farewell leaves before the context ends */
    zmq_close(hypervisor.socket);
    zmq_ctx_term(context);
    msgpack_unpacked_destroy(&hypervisor.answer);
    zmq_msg_close(&hypervisor.message);
    msgpack_sbuffer_destroy(&hypervisor.frame);
    return 0;
}
