/** The same chunks; `count` is told the bytes of each as it goes. */
export async function* counted<Chunk extends Uint8Array>(
  chunks: AsyncIterable<Chunk>,
  count: (bytes: number) => void,
): AsyncGenerator<Chunk> {
  for await (const chunk of chunks) {
    count(chunk.length)
    yield chunk
  }
}
