export { mergePackageLists } from './package-lists.js'
