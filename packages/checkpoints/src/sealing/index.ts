export { Manifests } from './manifests.js'
export { resealObjects, sealedObjects, type Resealed } from './reseal.js'
