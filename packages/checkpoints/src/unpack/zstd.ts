import koffi from 'koffi'

/** libzstd's streams: a program of its own would get and give all bytes through pipes. */
const libzstd = koffi.load('libzstd.so.1')
koffi.struct('ZSTD_inBuffer', { src: 'const void *', size: 'size_t', pos: 'size_t' })
koffi.struct('ZSTD_outBuffer', { dst: 'void *', size: 'size_t', pos: 'size_t' })
const createStream = libzstd.func('void *ZSTD_createDStream()')
const freeStream = libzstd.func('size_t ZSTD_freeDStream(void *stream)')
const decompressStream = libzstd.func(
  'size_t ZSTD_decompressStream(void *stream, _Inout_ ZSTD_outBuffer *output, _Inout_ ZSTD_inBuffer *input)',
)
const isError = libzstd.func('unsigned int ZSTD_isError(size_t code)')
const errorName = libzstd.func('str ZSTD_getErrorName(size_t code)')

/** Decompresses a stream of zstd frames in the thread that calls. `close` it. */
export class Decompressor {
  private readonly stream = createStream() as unknown
  private wanted = 1

  /** Whether what was taken so far ends where a frame does. */
  get isComplete(): boolean {
    return this.wanted === 0
  }

  /**
   * Decompresses from `input.position` on into `output` from `filled` on, and moves `input.position` past what was taken. Returns
   * how far `output` is filled then. More comes of it as long as that is its whole length, or some of the input is left.
   */
  step(input: { bytes: Uint8Array; position: number }, output: Uint8Array, filled: number): number {
    // With nothing more to take it would begin another frame.
    if (this.isComplete && input.position === input.bytes.length) return filled
    const from = { src: input.bytes, size: input.bytes.length, pos: input.position }
    const to = { dst: output, size: output.length, pos: filled }
    const result = decompressStream(this.stream, to, from) as number | bigint
    if (isError(result) !== 0) throw new Error(`zstd: ${errorName(result) as string}`)
    this.wanted = Number(result)
    input.position = Number(from.pos)
    return Number(to.pos)
  }

  close(): void {
    freeStream(this.stream)
  }
}
