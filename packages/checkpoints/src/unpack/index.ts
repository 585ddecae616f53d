export { unpackInThread } from './in-thread.js'
export { unpackContent } from './unpack-content.js'
