/* IORING_OP_WRITE_FIXED reads some bytes of a page of a buffer, IORING_OP_READ_FIXED writes them. */
static void fixed_io(struct fixed *pin, int opcode, int page, int from, int size)
{
	struct io_uring_params *params = &pin->params;
	unsigned int *sq_tail = (unsigned int *)(pin->sq + params->sq_off.tail);
	unsigned int *cq_head = (unsigned int *)(pin->cq + params->cq_off.head);
	unsigned int *cq_tail = (unsigned int *)(pin->cq + params->cq_off.tail);
	struct io_uring_cqe *cqe = (struct io_uring_cqe *)(pin->cq + params->cq_off.cqes);
	int index = pin->nr - 1;

	while (pin->first[index] > page)
		index--;
	memset(pin->sqe, 0, sizeof(*pin->sqe));
	pin->sqe->opcode = opcode;
	pin->sqe->fd = scratch;
	pin->sqe->off = SCRATCH_PLACE;
	pin->sqe->addr = (uintptr_t)pin->buffer[index].iov_base + (size_t)(page - pin->first[index]) * PAGE_SIZE + from;
	pin->sqe->len = size;
	pin->sqe->buf_index = index;
	/* One entry at a time: it is number 0 of the submission queue, whose array is zero. */
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, pin->ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		stop(SKIP, "io_uring_enter(): %s", strerror(errno));
	if (__atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == *cq_head)
		stop(SKIP, "io_uring_enter(): nothing is complete");
	cqe += *cq_head & (params->cq_entries - 1);
	if (cqe->res != size)
		stop(SKIP, "page %d of a fixed buffer: %s", page, cqe->res < 0 ? strerror(-cqe->res) : "a part only");
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
}
