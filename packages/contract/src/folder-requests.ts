import { z } from 'zod'
import { maxBuckets, type FolderComparison } from './folder-sync.js'

/** The first line of a request to compare folders. */
export const folderComparisonSchema: z.ZodType<FolderComparison> = z.strictObject({
  v: z.literal(1),
  buckets: z.int().min(1).max(maxBuckets),
  rules: z.array(z.strictObject({ folder: z.string().max(4096), text: z.string().max(1_000_000) })).max(10_000),
  ownRules: z.boolean(),
})
