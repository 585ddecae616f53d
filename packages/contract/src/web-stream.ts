/**
 * The bytes as a web stream. Node's own way from one of its streams (`Readable.toWeb`) ends the process when the reader leaves
 * while bytes are on their way.
 */
export function webStreamOf(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const bytes = source[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await bytes.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await bytes.return?.()
    },
  })
}
