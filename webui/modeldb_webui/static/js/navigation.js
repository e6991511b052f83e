// The places beside the projects: the pages of plugins, and of the kinds that they declare.

/** @typedef {{title: string, group: string, path: string}} Link the path is one below the address of the server */

/** In their order, those of one group together. @type {Link[]} */
export const LINKS = JSON.parse(document.body.dataset.navigation ?? "[]");
