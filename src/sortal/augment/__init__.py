"""What varies training images: random draws by position, and what they mean. How they are applied belongs to an engine."""
