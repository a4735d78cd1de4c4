//! The homelab: containers, images, templates, the marketplace, and what everybody does.
