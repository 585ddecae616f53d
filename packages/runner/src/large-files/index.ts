export { ArrivalWriters } from './arrived.js'
export { listChunks } from './list-chunks.js'
export { patchFile } from './patch-file.js'
export { readRanges } from './read-ranges.js'
