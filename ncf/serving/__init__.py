"""What answers: catalogue, recommender, lists. A registered model needs this package alone."""
