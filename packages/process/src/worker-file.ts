/**
 * The compiled module of a thread, beside the one that starts it. Threads know no TypeScript: what runs from source takes
 * what was compiled of it.
 */
export function workerFile(importer: string): URL {
  const beside = new URL('./worker.js', importer)
  return importer.endsWith('.ts') ? new URL(beside.href.replace(/\/src\/(?!.*\/src\/)/, '/dist/')) : beside
}
