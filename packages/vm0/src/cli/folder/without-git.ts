import type { FolderRules } from '@vm0/contract/client'

/** Rules that keep a folder's own repository out of a transfer. */
export const withoutGit: FolderRules[] = [{ folder: '', text: '.git\n' }]
